"""What the Slicer panel is made of: the background worker, the sections of the panel, its texts, its self test.

Slicer and Qt are imported inside functions only, so that all but the self test can be imported anywhere. The panel
itself is `StenosisDetection/StenosisDetection.py`.
"""
