"""What a push of routes to many streams costs."""
