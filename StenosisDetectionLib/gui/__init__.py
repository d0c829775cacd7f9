"""What the Slicer panel needs and that can be tested without it: the background worker and the texts it shows.

Nothing here imports Qt or Slicer; the panel itself is `StenosisDetection/StenosisDetection.py`.
"""
