"""Training of the networks on synthetic studies, on a user's own image and label pairs, or on both."""
