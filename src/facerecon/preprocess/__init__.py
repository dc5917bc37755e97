"""From photographs to training shards: detection, landmarks, parsing, landmark fit, and the file that joins them."""
