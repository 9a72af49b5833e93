"""A local server for one exported model: a web page, and TF Serving's JSON API."""
