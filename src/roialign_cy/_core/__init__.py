"""The compiled core: boxes to taps, taps and a map to pooled values. Private."""
