"""Sentences of the library as templates, in the language of the application.

In: a sentence as the library says it, numbers filled in. Out: the same from the translated template. The
templates are collected by `Testing/library_messages.py`.
"""

import functools
import re
from collections.abc import Callable

from ..i18n import translate

_CONTEXT = "gui.messages"


def translated_message(text: str) -> str | None:
    """Return a sentence of the library in the language of the application; None when it is none of them."""
    for pattern, template in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            return translate(_CONTEXT, template).format(**found.groupdict())
    return None


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return each template with what recognizes it, those with the most words first."""
    templates = sorted(_templates(str), key=lambda text: -len(re.sub(r"{\w+}", "", text)))
    return tuple((re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(each))), each) for each in templates)


def _templates(_: Callable[[str], str]) -> tuple[str, ...]:
    """Return all templates, where tools for translators find them."""
    return (
        _("'{entry}' needs no download: its weights are on this computer"),
        _("'{new_name}' cannot name a vessel: use up to 16 letters, digits, - and _, a letter first"),
        _("LAD and LCX begin at the aorta separately"),
        _("Multi-scale tube filter with region growing from the aortic root; needs no weights and no GPU."),
        _("a bright ring, a stent or a ring of calcium, hides the lumen: {join}"),
        _("a gap without contrast: candidate of an occlusion"),
        _("a gap without visible lumen was bridged: an occlusion or an artefact is possible"),
        _("a lesion of {vessel_name} needs its start before its throat and its throat before its end"),
        _("a spacing of {spacing_mm} mm"),
        _("a vessel that runs beside an artery and touches it was taken for a vein and left out"),
        _("added by a reader"),
        _("all segments are empty: draw the coronary lumen first"),
        _("an artery reaches the border of the image: what lies beyond was not imaged"),
        _("an occlusion is not excluded"),
        _("arrays of objects are not read"),
        _("at a bifurcation"),
        _("at the ostium"),
        _(
            "at {float} kV the attenuation of plaque differs from that at {low} to {high} kV: its classes are "
            "uncertain, and neither low-attenuation plaque nor a napkin ring is named"
        ),
        _("borderline: the interval spans 50 %"),
        _("borderline: the interval spans 70 %"),
        _("both coronary arteries begin in one sinus of the aorta, which is an anomaly"),
        _("calcified plaque limits the measurement: read the interval, not the number"),
        _("calcium around more than half of the circumference hides the lumen: an interval, no number"),
        _("calcium hides the lumen over {value} mm or more: {join}"),
        _("can't allocate memory"),
        _("candidates of high-risk plaque (two features or more), for the reader: {join}"),
        _("cannot write the case '{study}' to the output folder ({os}): free space there or choose another folder"),
        _("computing on the CPU"),
        _("could not be measured over more than half of the length: {join}"),
        _("device '{name}' is not available here"),
        _("diffusely small, so that a stenosis there may be underestimated: {join}"),
        _("drawn or changed by a reader"),
        _(
            "ends abruptly although it is wide: a possible occlusion without refill behind it, or lumen that was "
            "not found; read the image at its end, nothing was graded there"
        ),
        _("filtering tubes at {sigma} mm"),
        _("finding the heart"),
        _("left and right coronary artery begin at one place"),
        _("left main stenosis of 50 % or more, or severe stenosis in three vessels"),
        _("measuring the lumen needs the package {error}: press Install packages in Slicer, or 'pip install {error2}'"),
        _("memory ran out on {execution}: went on with {step}"),
        _("minimal stenosis (1-24 %) or plaque without stenosis"),
        _("named by a reader"),
        _("no artery begins at the aorta found by its shape: that of the network is used"),
        _("no contrast agent was found in the aorta"),
        _("no coronary artery was found on the aorta"),
        _("no coronary artery was found; nothing was assessed"),
        _("no finite value"),
        _("no left coronary artery was found: it may lie outside of the image"),
        _("no plaque and no stenosis"),
        _("no posterior descending artery was seen; dominance is that of the artery reaching the crux"),
        _("no right coronary artery was found: it may lie outside of the image"),
        _("not diagnostic: obstructive disease cannot be excluded"),
        _("not found, so that disease there is not excluded: {join}"),
        _("nothing of '{entry}' was downloaded: there is nothing to remove"),
        _("one of two lesions near each other"),
        _("out of memory"),
        _("outlining the arteries"),
        _("parts of the segmentation have no way to an ostium and were left out"),
        _("point spread assumed from the voxel size: no sharp aortic edge was found"),
        _("read from a file of centerlines"),
        _("reports need the package jinja2: press Install packages in Slicer, or 'pip install jinja2'"),
        _("severe stenosis (70-99 %) in one or two vessels"),
        _("slices {thickness} mm thick every {spacing} mm leave gaps between them"),
        _("sums in the memory of the CPU"),
        _("the anatomy looks mirrored or turned: check the orientation of the image and the names"),
        _("the aorta was not found"),
        _("the aortic root is not complete in the image"),
        _("the ascending aorta was not found: noise and contrast are estimated from other tissue"),
        _(
            "the calcium score needs a CT without contrast agent: in an angiogram the blood itself exceeds 130 "
            "HU; choose the calcium scan"
        ),
        _("the calcium score needs axial slices: reformat the volume, or choose the axial series"),
        _(
            "the calcium score needs slices of at most {value} mm, this volume has {k_mm} mm: choose a series of "
            "thinner slices"
        ),
        _("the case '{case_id}' exists in the output folder: choose another folder or overwrite it"),
        _("the case id is no folder name: use up to 100 letters, digits, '.', '_' and '-'"),
        _("the circumflex artery goes on as a posterolateral branch: check that, dominance hangs on it"),
        _(
            "the coronary arteries have {coronary_hu} HU, the aorta {aorta} HU: the aorta may be mistaken, and "
            "the coronary value is used"
        ),
        _("the decision on {decision} needs its time in ISO 8601"),
        _("the decision on {decision} needs the name of its reader"),
        _("the decision on {decision} says edited and holds no edited lesion"),
        _("the description inside {path} is damaged: download or copy it again"),
        _("the fit failed at the narrowest place: the lumen is that of the segmentation"),
        _(
            "the folder {path} holds no model: it needs {value}, or must be a MONAI bundle or the results folder "
            "of an nnU-Net v2 training (with dataset.json and plans.json)"
        ),
        _("the healthy diameter is uncertain: the vessel beside the lesion differs from the reference"),
        _(
            "the image grid is sheared by {np} degrees (gantry tilt): resample it to right angles first, for "
            "example with Slicer's acquisition geometry regularization"
        ),
        _("the image has only {smallest} {slice} along one axis, at least {value} are needed: choose the full series"),
        _("the image has {volume} dimensions, not 3: choose a single volume (one cardiac phase)"),
        _(
            "the image is a label map (only whole numbers from 0 to {highest}): give the CT itself as the input, "
            "and a label map of the lumen as the segmentation"
        ),
        _("the image is {volume}, not CT: choose a coronary CT angiogram"),
        _("the label map does not overlap the volume: give the one that was drawn on this study"),
        _("the label map of the calcium score holds no coronary artery: give a label per artery"),
        _("the left and the right tree touch: names and ends there are uncertain"),
        _("the left coronary artery lies outside of the image: it was not imaged"),
        _("the left main coronary artery was not found"),
        _("the lumen closes a loop here, or touches another vessel: the loop was cut"),
        _("the lumen of {vessel_name} was not measured at the reference markers: choose a place where it was"),
        _("the lumen of {vessel_name} was not measured at {vessel} mm: choose a place where it was"),
        _(
            "the lumen of {vessel_name} was not measured between {start_mm} and {end_mm} mm: choose a place "
            "where it was"
        ),
        _(
            "the measured point spread, {measured} mm in plane and {measured2} mm across slices (standard "
            "deviation), lies outside {low} to {high} mm and was clamped"
        ),
        _(
            "the model {options} found no artery in voxels coarser than the {value} mm it was trained on: "
            "{vesselness} was used instead"
        ),
        _("the network's configuration has unknown fields ({join}): update"),
        _("the network's configuration is incomplete or damaged ({error})"),
        _("the networks need the package monai: press Install packages in Slicer, or 'pip install monai'"),
        _("the ostium is estimated: the aorta was not found there"),
        _("the path of {name} is shorter than {value} mm: draw it from its start to its tip"),
        _("the path of {name} needs points of three numbers each, in RAS and mm"),
        _("the pixels are {in_plane} mm wide, above {value} mm: diameters are uncertain"),
        _("the position of the image is not given by finite numbers: export it again from its source"),
        _("the proximal reference marker must lie before the distal one"),
        _("the region (roi) needs six numbers in mm of RAS, x0,x1,y0,y1,z0,z1, with each x0 < x1"),
        _("the region is empty: draw it around the heart, or choose the whole volume"),
        _("the region of the calcium score must have the grid of the CT volume"),
        _("the result in this scene cannot be read: press Apply to make it again"),
        _("the right coronary artery lies outside of the image: it was not imaged"),
        _(
            "the scan shows no arterial contrast: aortic blood has {measured}, at least {value} HU are needed; "
            "choose the contrast-enhanced series"
        ),
        _("the score is defined at {value} kV; at {float} kV the attenuation of calcium differs"),
        _("the segmentation cannot be turned into voxels: draw the coronary lumen first"),
        _("the segmentation does not overlap the volume: give the label map that was drawn on this study"),
        _("the segmentation has no segment: draw the coronary lumen first"),
        _(
            "the segmentation holds a solid as thick as a heart, {volume_ml} mL in all: choose the coronary "
            "lumen, not the heart"
        ),
        _("the segmentation holds no coronary lumen: name its segments after vessels (LM, LAD, ...)"),
        _("the segmentation holds no lumen"),
        _("the segmentation holds nothing that has the shape of a vessel"),
        _(
            "the segmentation holds the coronary trees of more than one heart, and no aorta tells which is this "
            "patient's: nothing was analyzed; give the tree of one patient, or its aorta as well"
        ),
        _(
            "the segmentation holds the coronary trees of more than one heart: that of the aorta in this image "
            "was analyzed, the other was left out; check that the segmentation belongs to this patient"
        ),
        _(
            "the segmentation is a solid of {volume_ml} mL with no vessel on it: choose the coronary lumen, not "
            "the heart or the aorta alone"
        ),
        _("the segmentation is empty: give a label map with the coronary lumen in it"),
        _("the segmentation is too large or too thick for coronary arteries: choose the coronary lumen, not the heart"),
        _("the slices are {thickness} mm thick, above {value} mm: diameters are uncertain"),
        _("the slices stand {slices} mm apart, above {value} mm: diameters are uncertain"),
        _(
            "the slices stand {spacing_mm} mm apart, at most {widest_mm} mm can be measured: choose a "
            "reconstruction with thinner slices"
        ),
        _("the smallest graded diameter must lie between 0.5 and 5 mm"),
        _("the tensors have other names"),
        _(
            "the values of the image (from {lowest} to {highest}) are not HU: neither fat nor lung lies below 0; "
            "export it with the rescale applied (stored values - 1024), or choose the CT if this is MR"
        ),
        _(
            "the values of the image reach only from {lowest} to {highest}, which is not a CT in HU: export it "
            "without normalization"
        ),
        _(
            "the values of the image reach {highest}, beyond any CT: negative values were stored without their "
            "sign; export it as signed 16-bit HU"
        ),
        _("the vessel begins at a distance from the aorta"),
        _("the vessel is small over a long way: diffuse disease may hide in the reference"),
        _("the vessel leaves the image: what follows was not imaged"),
        _(
            "the vessels of the segmentation have {vessels_hu} HU where the aorta has {aorta_hu} HU: choose the "
            "segmentation that belongs to this scan"
        ),
        _("the volume has changed since its result was made: press Apply to make it again"),
        _("the volume has several values per voxel: choose a CT volume, not a color image"),
        _("the volume is empty: choose a loaded CT volume"),
        _("the volume is thinner than one slice of {value} mm: choose the full series"),
        _("the voxel spacing {in_mm} is not plausible: export the image with its spacing in mm"),
        _("the weights in {path} do not fit their configuration: copy them again"),
        _("the weights of '{entry}' ({path}) are missing: install or register them again"),
        _(
            "the weights of '{entry}' ({path}) are not those of the registry (their SHA-256 differs): download "
            "or install them again"
        ),
        _("the weights of '{entry}' are not on this computer: run 'stenosis-detection models download {entry2}'"),
        _(
            "the weights of '{entry}' could not be downloaded from {host} ({reason}): connect this computer to "
            "the internet, or put {file} into the cache folder (see 'stenosis-detection models cache')"
        ),
        _("the weights {path} do not exist: check the path"),
        _("there is already a vessel '{name}': choose another name or edit that vessel"),
        _("there is no box to run the network on"),
        _("there is no centerline of at least 2 mm in it: choose another file"),
        _("there is no lesion '{decision}' in this study"),
        _("there is no lesion '{lesion_id}' in this study"),
        _("there is no vessel '{name}' in this study: choose one of {known}"),
        _("there is no vessel '{name}' in this tree: choose one of {join}"),
        _("there is no vessel '{vessel_name}' in this study"),
        _("there is not enough memory for the network: close other programs, or search a smaller region (roi)"),
        _("this processor does not compute in {precision}, which would take many times as long: computed in fp32"),
        _("this version of the program cannot build a network with {wrong}: update one of them"),
        _("tiles of {largest} voxels do not fit into {tuple}"),
        _("unknown decision '{decision}': choose one of {join}"),
        _("unknown precision '{precision}': choose one of {join}"),
        _("unknown research option '{name}': choose from {join}"),
        _("unknown segmentation model '{path}': choose one of {known}, or give a path"),
        _(
            "weak contrast: aortic blood has {aorta_hu} HU, below {value} HU; small vessels and soft plaque are "
            "uncertain"
        ),
        _("weights need the package safetensors: press Install packages in Slicer, or 'pip install safetensors'"),
        _("what was downloaded for '{entry}' is no zip archive: correct the registry"),
        _(
            "what {host} gave for '{entry}' is not what the registry means (its SHA-256 differs): it was thrown "
            "away; try again, or correct the registry"
        ),
        _("{batch} tile{if} at a time"),
        _("{count} voxels are not finite numbers ({count2} %): export the image again without them"),
        _("{host} does not give out {file} (HTTP status {error}): check the address in the registry"),
        _("{path} holds no network of this program (format {value}): choose another file"),
        _("{path} holds no section network (format {value}): choose another file"),
        _("{path} is damaged: install StenosisDetection again"),
        _("{path} is no complete file of this network: copy it again"),
        _("{path} is no complete safetensors file: download or copy it again"),
        _(
            "{path} is no model that can be used: give a .safetensors file of this program, a MONAI bundle or an "
            "nnU-Net v2 folder (a checkpoint alone does not say which network it belongs to)"
        ),
        _("{path} is no registry of models: it needs a JSON object with a list 'models'"),
        _("{problem}: choose auto or one of {join}"),
        _("{registry_file}: there is a model '{entry}' already: choose another name"),
        _("{vessel_name} has no healthy diameter: set the two reference markers"),
        _("{where}: 'files' needs the file '{role}'"),
        _("{where}: 'url' must begin with https:// or http://"),
        _("{where}: TorchScript is code, so the exact file must be named by its 'sha256'"),
        _("{where}: it is no JSON object"),
        _("{where}: the name '{name}' cannot be the name of a folder"),
        _("{where}: unknown kind '{kind}': choose one of {join}"),
        _("{where}: what is downloaded needs its SHA-256 ('sha256', 64 digits)"),
    )
