"""Where HTTP telemetry is made, for any HTTP library: the library rooms say when, this room says what."""
