"""The files that make the repository a Slicer extension agree with each other and with the tree."""

import ast
import json
import re
import shutil
import struct
import subprocess
import sys
import tomllib

import pytest
from conftest import REPOSITORY

LIBRARY = REPOSITORY / "StenosisDetectionLib"
RAW = "https://raw.githubusercontent.com/StenosisDetection/SlicerStenosisDetection/main/"
ONLY_FOR_PEOPLE = "Screenshots"
"""Folder of Resources whose files are shown on web pages and not installed."""


def _cmake_variable(name):
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    match = re.search(rf'^set\({name}\s+(?:"([^"]*)"|([^)]*))\)', text, re.MULTILINE)
    assert match, f"CMakeLists.txt does not set {name}"
    return match[1] if match[1] is not None else match[2].strip()


def _s4ext():
    lines = (REPOSITORY / "StenosisDetection.s4ext").read_text(encoding="utf-8").splitlines()
    entries = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    keys = [key for key, _, _ in entries]
    assert len(keys) == len(set(keys))
    return {key: value for key, _, value in entries}


def _tree(folder, pattern):
    paths = sorted((REPOSITORY / folder).rglob(pattern))
    return [path.relative_to(REPOSITORY).as_posix() for path in paths if path.is_file()]


def _assert_same(listed, present, variable):
    missing = [path for path in present if path not in listed]
    gone = [path for path in listed if path not in present]
    message = f"in {variable} of CMakeLists.txt add\n" + "\n".join(f"  {path}" for path in missing)
    assert not missing, message
    assert not gone, f"remove from {variable}: {gone}"
    assert len(listed) == len(set(listed)), f"{variable} lists a file twice"


def test_cmake_lists_every_file_of_the_library():
    present = [path for path in _tree("StenosisDetectionLib", "*.py") if "__pycache__" not in path]
    _assert_same(_cmake_variable("LIBRARY_PYTHON_SCRIPTS").split(), present, "LIBRARY_PYTHON_SCRIPTS")
    others = [path for path in _tree("StenosisDetectionLib", "*") if not path.endswith((".py", ".pyc"))]
    assert others == [], "files that are no Python belong into Resources, or they are not installed"


def test_cmake_lists_every_resource():
    present = [path for path in _tree("Resources", "*") if f"/{ONLY_FOR_PEOPLE}/" not in path]
    _assert_same(_cmake_variable("LIBRARY_RESOURCES").split(), present, "LIBRARY_RESOURCES")


def test_cmake_of_the_module_lists_every_file():
    text = (REPOSITORY / "StenosisDetection" / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.findall(r"^  (\S+\.\w+)$", text.replace("${MODULE_NAME}", "StenosisDetection"), re.MULTILINE)
    present = [path.removeprefix("StenosisDetection/") for path in _tree("StenosisDetection", "*")]
    present = [path for path in present if "__pycache__" not in path and path != "CMakeLists.txt"]
    assert sorted(listed) == sorted(present)


def test_resources_of_module_and_library_do_not_collide():
    """Installed, both folders of resources become one."""
    module = {path.removeprefix("StenosisDetection/") for path in _tree("StenosisDetection/Resources", "*")}
    assert module & set(_tree("Resources", "*")) == set()


def test_the_module_folder_is_no_package_and_the_library_is():
    assert not (REPOSITORY / "StenosisDetection" / "__init__.py").exists()
    assert (LIBRARY / "__init__.py").exists()
    # Slicer takes every .py file beside a module for another module.
    assert [path.name for path in (REPOSITORY / "StenosisDetection").glob("*.py")] == ["StenosisDetection.py"]


def test_project_has_the_name_of_the_extension():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\((\w+)\)", text, re.MULTILINE)[1] == "StenosisDetection"
    assert (REPOSITORY / "StenosisDetection.json").exists()
    assert (REPOSITORY / "StenosisDetection.s4ext").exists()
    for folder in re.findall(r"add_subdirectory\((\w+)\)", text):
        assert (REPOSITORY / folder / "CMakeLists.txt").exists()


SLICER_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/macros.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/generate.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/package.cmake)
"""

SLICER_MACROS = """
set(BUILD_TESTING ON)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown arguments ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "${MY_NAME} lists ${file}, which does not exist")
    endif()
  endforeach()
  message(STATUS "module ${MY_NAME}")
endmacro()
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT" "" ${ARGN})
  message(STATUS "test ${MY_SCRIPT}")
endmacro()
"""


def test_cmake_configures_with_a_stand_in_for_slicer(tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("CMake is not installed")
    slicer, source = tmp_path / "slicer", tmp_path / "source"
    slicer.mkdir()
    (slicer / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (slicer / "macros.cmake").write_text(SLICER_MACROS)
    (slicer / "generate.cmake").write_text('message(STATUS "tier ${EXTENSION_TIER}")')
    (slicer / "package.cmake").write_text('message(STATUS "license ${EXTENSION_LICENSE_FILE}")')
    source.mkdir()
    for name in ("StenosisDetection", "StenosisDetectionLib", "Resources", "Testing"):
        (source / name).symlink_to(REPOSITORY / name, target_is_directory=True)
    # Slicer's CMake is newer than that of many computers, and its compilers are not needed to read the files.
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    text = text.replace("VERSION 3.28.0...3.28.0 FATAL_ERROR", "VERSION 3.20")
    text = text.replace("project(StenosisDetection)", "project(StenosisDetection NONE)")
    (source / "CMakeLists.txt").write_text(text)
    run = subprocess.run(
        [cmake, "-S", source, "-B", tmp_path / "build", f"-DSlicer_DIR={slicer}"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    for line in ("module StenosisDetectionLib", "module StenosisDetection", "tier 1", "license ", "test "):
        assert f"-- {line}" in run.stdout


@pytest.mark.parametrize(
    "key",
    ["homepage", "contributors", "category", "iconurl", "screenshoturls", "depends", "recommends", "keywords", "tier"],
)
def test_s4ext_agrees_with_cmake(key):
    assert _s4ext()[key] == _cmake_variable(f"EXTENSION_{key.upper()}")


def test_s4ext_agrees_with_description_license_and_readme():
    assert _s4ext()["description"] == _cmake_variable("EXTENSION_DESCRIPTION")
    assert "not a medical device" in _cmake_variable("EXTENSION_DESCRIPTION").lower()
    for variable in ("EXTENSION_LICENSE_FILE", "EXTENSION_README_FILE"):
        path = _cmake_variable(variable)
        assert path.startswith("${CMAKE_CURRENT_SOURCE_DIR}/")
        assert (REPOSITORY / path.removeprefix("${CMAKE_CURRENT_SOURCE_DIR}/")).is_file()


def test_json_is_a_catalog_entry():
    text = (REPOSITORY / "StenosisDetection.json").read_text(encoding="utf-8")
    entry = json.loads(text)
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    allowed = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies"}
    allowed |= {"build_subdirectory", "enabled", "dicom_support_rule", "tier"}
    assert {"$schema", "category", "scm_url"} <= set(entry) <= allowed
    assert list(entry) == sorted(entry)
    assert "\r" not in text
    s4ext = _s4ext()
    assert entry["category"] == s4ext["category"]
    assert entry["scm_url"] == s4ext["scmurl"]
    assert entry["scm_revision"] == s4ext["scmrevision"]
    assert entry["build_dependencies"] == s4ext["depends"].split()
    assert entry["tier"] == int(s4ext["tier"])
    # The repository's name begins with Slicer, the extension's does not.
    assert entry["scm_url"].rsplit("/", 1)[1] == "SlicerStenosisDetection.git"


CATEGORIES = {"Cardiac", "Quantification", "Segmentation", "Vascular Modeling Toolkit"}
"""Those of the index's list that would suit; a new one would be refused."""

EXTENSIONS = {"PyTorch", "SlicerVMTK", "QuantitativeReporting"}
"""Extensions of the index that this one may name."""


def test_the_entry_follows_the_rules_of_the_index():
    """What the checks of the Extensions Index refuse, as far as it can be told without their network."""
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    name = re.search(r"^project\((\w+)\)", text, re.MULTILINE)[1]
    entry = json.loads((REPOSITORY / f"{name}.json").read_text(encoding="utf-8"))
    assert not name.startswith("Slicer")
    assert entry["scm_url"].rsplit("/", 1)[1].startswith("Slicer")
    assert entry["scm_url"].startswith("https://")
    assert entry["category"] in CATEGORIES
    assert set(entry["build_dependencies"]) <= EXTENSIONS
    assert set(_cmake_variable("EXTENSION_RECOMMENDS").split()) <= EXTENSIONS
    for variable in ("HOMEPAGE", "ICONURL", "SCREENSHOTURLS"):
        # One set() on one line and plain addresses: the index reads them with regular expressions.
        (line,) = re.findall(rf'^set\(EXTENSION_{variable} "([^"]*)"\)$', text, re.MULTILINE)
        assert all(re.fullmatch(r"https://[\w./-]+", url) for url in line.split())
    assert any((REPOSITORY / name).is_file() for name in ("LICENSE", "LICENSE.txt", "COPYING"))
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if tracked.returncode == 0:
        paths = [REPOSITORY / path for path in tracked.stdout.split("\0") if path]
        assert sum(path.stat().st_size for path in paths if path.is_file()) < 50e6  # 100 MB with history


def test_the_readme_answers_what_reviewers_ask():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    summary = text.split("\n\n")[1]
    assert "coronary" in summary
    assert len(summary) < 600
    assert "not a medical device" in text.lower()
    assert re.search(r"!\[[^\]]+\]\(Resources/Screenshots/\w+\.png\)", text)
    for wanted in ("step by step", "CTACardio", "Sample Data", "## Citing", "Apache License 2.0", "## Limits"):
        assert wanted in text, wanted
    for link in re.findall(r"\]\(((?:Resources|StenosisDetection)[^)#]*)\)", text):
        assert (REPOSITORY / link).is_file(), link


def test_every_section_of_the_panel_has_a_page_of_help():
    ui = (REPOSITORY / "StenosisDetection" / "Resources" / "UI" / "StenosisDetection.ui").read_text(encoding="utf-8")
    titles = re.findall(
        r'class="ctkCollapsibleButton".*?<property name="text">\s*<string>([^<]*)</string>', ui, re.DOTALL
    )
    assert len(titles) == 7
    module = (REPOSITORY / "StenosisDetection" / "StenosisDetection.py").read_text(encoding="utf-8")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for title in titles:
        page = f"{title.lower().replace(' ', '-')}.md"
        text = (REPOSITORY / "Resources" / "help" / page).read_text(encoding="utf-8")
        assert text.startswith(f"# {title}\n")
        assert f"/{page}" in module
        assert f"Resources/help/{page}" in readme


def test_pictures_of_the_catalog_are_in_the_repository():
    for variable in ("EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        for url in _cmake_variable(variable).split():
            assert url.startswith(RAW)
            width, height, _ = _png(REPOSITORY / url.removeprefix(RAW))
            assert min(width, height) >= 128


def test_icon_is_square_with_transparent_corners():
    path = REPOSITORY / "StenosisDetection" / "Resources" / "Icons" / "StenosisDetection.png"
    width, height, alpha = _png(path)
    assert width == height
    assert alpha[0][0] == 0
    assert max(max(row) for row in alpha) == 255


def _png(path):
    """Return width, height and, of an 8-bit RGBA picture, the alpha of its first row."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height, depth, color = struct.unpack(">IIBB", data[16:26])
    if (depth, color) != (8, 6):
        return width, height, None
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    pixels = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars()).reshape(height, width, 4)
    return width, height, pixels[..., 3].tolist()


ALLOWED_AT_FILE_SCOPE = {"numpy", "vtk", "vtkmodules", "SimpleITK", "StenosisDetectionLib"} | set(
    sys.stdlib_module_names
)


def _imports_at_file_scope(path):
    """Yield the top names that importing a file imports, without what is inside functions or TYPE_CHECKING."""

    def visit(nodes):
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module.partition(".")[0]
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from visit(node.orelse)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from visit(ast.iter_child_nodes(node))

    return visit(ast.parse(path.read_text(encoding="utf-8")).body)


def test_the_library_imports_nothing_at_file_scope_that_slicer_may_lack():
    found = {
        f"{path.relative_to(LIBRARY).as_posix()}: {name}"
        for path in LIBRARY.rglob("*.py")
        for name in _imports_at_file_scope(path)
        if name not in ALLOWED_AT_FILE_SCOPE
    }
    # Only Slicer loads the self test, whose class derives from one of Slicer's.
    assert found == {"gui/self_test.py: slicer"}


def test_the_module_imports_nothing_at_file_scope_that_slicer_may_lack():
    path = REPOSITORY / "StenosisDetection" / "StenosisDetection.py"
    assert set(_imports_at_file_scope(path)) <= ALLOWED_AT_FILE_SCOPE | {"slicer", "qt", "ctk"}


def test_only_scene_and_gui_import_slicer_and_only_the_gui_qt():
    for path in LIBRARY.rglob("*.py"):
        room = path.relative_to(LIBRARY).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                assert top != "slicer" or room in ("scene", "gui"), path
                assert top not in ("qt", "ctk") or room == "gui", path


@pytest.mark.parametrize("layout", ["source", "installed"])
def test_the_module_takes_the_library_beside_it(tmp_path, layout):
    """From source Slicer has only the module's own folder on its path; a copy elsewhere must not take precedence."""
    text = (REPOSITORY / "StenosisDetection" / "StenosisDetection.py").read_text(encoding="utf-8")
    start = text[text.index("if (\n    _home :=") : text.index("from StenosisDetectionLib")]
    home, other = tmp_path / "home", tmp_path / "other"
    module = (home if layout == "installed" else home / "StenosisDetection") / "StenosisDetection.py"
    for folder in (home, other):
        (folder / "StenosisDetectionLib").mkdir(parents=True)
        (folder / "StenosisDetectionLib" / "__init__.py").write_text("")
    module.parent.mkdir(exist_ok=True)
    show = "import StenosisDetectionLib; print(StenosisDetectionLib.__file__)"
    module.write_text(f"import sys\nfrom pathlib import Path\n{start}{show}")
    code = (
        "import runpy, sys; sys.path[:] = [sys.argv[2], *sys.path, sys.argv[3]]; runpy.run_path(sys.argv[1]);"
        "length = len(sys.path); runpy.run_path(sys.argv[1]); print(len(sys.path) - length)"
    )
    arguments = [str(module), str(other), str(module.parent)]
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    expected = str((home / "StenosisDetectionLib" / "__init__.py").resolve())
    assert run.stdout.split() == [expected, expected, "0"], run.stderr


def test_requirements_of_the_panel_are_those_of_the_package():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (REPOSITORY / "StenosisDetection" / "Resources" / "requirements.txt").read_text(encoding="utf-8")
    wanted = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert wanted
    assert set(wanted) <= set(project["dependencies"])
    # What Slicer brings along or the PyTorch extension installs must not be asked for.
    assert not {"numpy", "scipy", "SimpleITK", "pydicom", "vtk", "torch"} & {re.split("[><=]", w)[0] for w in wanted}
