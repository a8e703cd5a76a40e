"""Traffic over xDS: routes to clients, and clients' load reports back.

The state's routes are a checked snapshot, streamed by ADS; clients' load comes back by LRS.

``Publisher.open`` and ``publish`` take routes in, ``XdsObserver`` receives what clients make of them, ``AdsService``
and ``LoadReportService`` are the gRPC handlers. The protocol itself (``stream_sotw``, ``stream_delta``, ``tracking``)
knows neither gRPC nor a clock.
"""
