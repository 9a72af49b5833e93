"""Serving: exports of models, and an app that serves one."""
