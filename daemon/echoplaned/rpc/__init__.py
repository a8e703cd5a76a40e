"""The API's servicers: a request becomes a command, a snapshot an answer.

They are thin, and protobuf stops here.
"""
