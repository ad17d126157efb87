"""`doctor`: is this host fit for the service?"""
