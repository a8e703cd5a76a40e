"""Tests of the API's definition and its generated code."""
