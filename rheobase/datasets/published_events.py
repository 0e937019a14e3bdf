"""Event sets: their files, checksums and where they come from.

Checksums of the archives are those that SpikingJelly and Tonic check; MVSEC publishes none for its HDF5 files.
"""

from rheobase.datasets.source import File, Source, Tree

_MENDELEY = "https://data.mendeley.com/public-files/datasets/{}/file_downloaded"
_FIGSHARE = "https://ndownloader.figshare.com/files/{}"

_CIFAR10_DVS_ARCHIVES = {
    "airplane": ("7712788", "0afd5c4bf9ae06af762a77b180354fdd"),
    "automobile": ("7712791", "8438dfeba3bc970c94962d995b1b9bdd"),
    "bird": ("7712794", "a9c207c91c55b9dc2002dc21c684d785"),
    "cat": ("7712812", "52c63c677c2b15fa5146a8daf4d56687"),
    "deer": ("7712815", "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    "dog": ("7712818", "f379ebdf6703d16e0a690782e62639c3"),
    "frog": ("7712842", "cad6ed91214b1c7388a5f6ee56d08803"),
    "horse": ("7712851", "e7cbbf77bec584ffbf913f00e682782a"),
    "ship": ("7712836", "41c7bd7d6b251be82557c6cce9a7d5c9"),
    "truck": ("7712839", "89f3922fd147d9aeff89e76a2b0b70a7"),
}

CIFAR10_DVS = Source(
    "cifar10-dvs",
    licence="see its page",
    advice="get the ten archives airplane.zip ... truck.zip from figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
    trees=tuple(Tree(f"{label}/*.aedat", 1000) for label in _CIFAR10_DVS_ARCHIVES),
    archives=tuple(
        File(f"{label}.zip", None, f"md5:{digits}", _FIGSHARE.format(number))
        for label, (number, digits) in _CIFAR10_DVS_ARCHIVES.items()
    ),
)

DVS128_GESTURE = Source(
    "dvs128-gesture",
    licence="CC BY 4.0",
    advice=(
        "get DvsGesture.tar.gz with a browser from "
        "ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794 and unpack it"
    ),
    files=(File("trials_to_train.txt"), File("trials_to_test.txt")),
    trees=(Tree("*.aedat", 122), Tree("*_labels.csv")),
    archives=(File("DvsGesture.tar.gz", None, "md5:8a5c71fb11e24e5ca5b11866ca6c00a1"),),
    inner=("DvsGesture",),
)

N_MNIST = Source(
    "n-mnist",
    licence="see its page",
    advice="get Train.zip and Test.zip from www.garrickorchard.com/datasets/n-mnist and unpack them",
    trees=(Tree("Train/*/*.bin", 60000), Tree("Test/*/*.bin", 10000)),
    archives=(
        File(
            "Train.zip",
            None,
            "md5:20959b8e626244a1b502305a9e6e2031",
            _MENDELEY.format("468j46mzdv/files/39c25547-014b-4137-a934-9d29fa53c7a0"),
        ),
        File(
            "Test.zip",
            None,
            "md5:69ca8762b2fe404d9b9bad1103e97832",
            _MENDELEY.format("468j46mzdv/files/05a4d654-7e03-4c15-bdfa-9bb2bcbea494"),
        ),
    ),
)

N_CALTECH101 = Source(
    "n-caltech101",
    licence="see its page",
    advice="get Caltech101.zip from www.garrickorchard.com/datasets/n-caltech101 and unpack it",
    trees=(Tree("*/*.bin"),),
    archives=(
        File(
            "Caltech101.zip",
            None,
            "md5:66201824eabb0239c7ab992480b50ba3",
            _MENDELEY.format("cy6cvx3ryv/files/36b5c52a-b49d-4853-addb-a836a8883e49"),
        ),
    ),
    inner=("Caltech101",),
)


def spoken(name: str, archives: dict[str, str]) -> Source:
    """A set of spoken words in HDF5 files, from their archives' names and MD5."""
    return Source(
        name,
        licence="see its page",
        advice=f"get {name}_*.h5.zip (or .gz) from zenkelab.org/datasets and unpack them",
        files=tuple(File(file.removesuffix(".zip")) for file in archives),
        archives=tuple(
            File(file, None, f"md5:{digits}", f"https://zenkelab.org/datasets/{file}")
            for file, digits in archives.items()
        ),
    )


SHD = spoken(
    "shd",
    {
        "shd_train.h5.zip": "f3252aeb598ac776c1b526422d90eecb",
        "shd_test.h5.zip": "1503a5064faa34311c398fb0a1ed0a6f",
    },
)

SSC = spoken(
    "ssc",
    {
        "ssc_train.h5.zip": "d102be95e7144fcc0553d1f45ba94170",
        "ssc_valid.h5.zip": "b4eee3516a4a90dd0c71a6ac23a8ae43",
        "ssc_test.h5.zip": "a35ff1e9cffdd02a20eb850c17c37748",
    },
)

MVSEC = Source(
    "mvsec",
    licence="see its page",
    advice=(
        "get the HDF5 files NAME_data.hdf5 and NAME_gt.hdf5 of outdoor_day1, outdoor_day2 and indoor_flying1 to 3 "
        "with a browser from daniilidis-group.github.io/mvsec/download"
    ),
    files=tuple(
        File(f"{scene}_{part}.hdf5")
        for scene in ("outdoor_day1", "outdoor_day2", "indoor_flying1", "indoor_flying2", "indoor_flying3")
        for part in ("data", "gt")
    ),
)

EVENT_SETS = (CIFAR10_DVS, DVS128_GESTURE, N_MNIST, N_CALTECH101, SHD, SSC, MVSEC)
