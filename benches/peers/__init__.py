"""Other systems on the very same stream with the very same number of matches; one file each."""
