"""A web page and TF Serving's JSON API for one exported model, on the local machine."""
