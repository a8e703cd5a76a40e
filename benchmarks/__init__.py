"""Runners and results; never imported by the product."""

from echoplaned.worker.log_filters import leave_out_enum_registrations

# Before any of them imports torchao: what it makes torch say is none of their results.
leave_out_enum_registrations()
