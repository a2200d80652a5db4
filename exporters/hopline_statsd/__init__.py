"""hopline_statsd turns OpenTelemetry spans and metrics into statsd lines, whoever made them."""
