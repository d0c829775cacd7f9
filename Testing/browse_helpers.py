"""What tests of looking along a vessel ask the scene for."""

from studies import small_study

from StenosisDetectionLib.gui.browse import vessel_path


def view_matrix(name):
    import slicer

    from StenosisDetectionLib.scene.review_views import placed, view_node

    return placed(view_node(slicer.mrmlScene, name))


def browse_node(role):
    import slicer

    from StenosisDetectionLib.scene.browse_nodes import find

    return find(slicer.mrmlScene, role)


def vessel_of(name="LAD"):
    return vessel_path(small_study(), name)
