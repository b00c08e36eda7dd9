"""The publications that the methods text cites."""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """A publication: how it is cited in a sentence, and its entry in a list."""

    cited: str
    entry: str


REFERENCES = (
    Reference(
        "Benjamini and Hochberg, 1995",
        "Benjamini Y, Hochberg Y. Controlling the false discovery rate: a practical and powerful approach to multiple "
        "testing. Journal of the Royal Statistical Society B 1995; 57: 289–300.",
    ),
    Reference(
        "Chung and Romano, 2013",
        "Chung E, Romano JP. Exact and asymptotically robust permutation tests. Annals of Statistics 2013; 41: 484–507.",
    ),
    Reference(
        "Clopper and Pearson, 1934",
        "Clopper CJ, Pearson ES. The use of confidence or fiducial limits illustrated in the case of the binomial. "
        "Biometrika 1934; 26: 404–413.",
    ),
    Reference(
        "DeLong et al., 1988",
        "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating "
        "characteristic curves: a nonparametric approach. Biometrics 1988; 44: 837–845.",
    ),
    Reference(
        "Demšar, 2006",
        "Demšar J. Statistical comparisons of classifiers over multiple data sets. Journal of Machine Learning Research "
        "2006; 7: 1–30.",
    ),
    Reference(
        "DerSimonian and Laird, 1986",
        "DerSimonian R, Laird N. Meta-analysis in clinical trials. Controlled Clinical Trials 1986; 7: 177–188.",
    ),
    Reference(
        "Efron, 1979",
        "Efron B. Bootstrap methods: another look at the jackknife. Annals of Statistics 1979; 7: 1–26.",
    ),
    Reference(
        "Efron, 1987",
        "Efron B. Better bootstrap confidence intervals. Journal of the American Statistical Association 1987; 82: "
        "171–185.",
    ),
    Reference(
        "Field and Welsh, 2007",
        "Field CA, Welsh AH. Bootstrapping clustered data. Journal of the Royal Statistical Society B 2007; 69: 369–390.",
    ),
    Reference(
        "Hesterberg, 2015",
        "Hesterberg TC. What teachers should know about the bootstrap: resampling in the undergraduate statistics "
        "curriculum. The American Statistician 2015; 69: 371–386.",
    ),
    Reference(
        "Holm, 1979",
        "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 1979; 6: "
        "65–70.",
    ),
    Reference(
        "Janssen, 1997",
        "Janssen A. Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher problem. "
        "Statistics and Probability Letters 1997; 36: 9–21.",
    ),
    Reference(
        "Lum et al., 2022",
        "Lum K, Zhang Y, Bower A. De-biasing “bias” measurement. ACM Conference on Fairness, Accountability, and "
        "Transparency 2022; 379–389.",
    ),
    Reference(
        "Newcombe, 1998",
        "Newcombe RG. Interval estimation for the difference between independent proportions: comparison of eleven methods. "
        "Statistics in Medicine 1998; 17: 873–890.",
    ),
    Reference(
        "Newcombe, 2006",
        "Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2: "
        "asymptotic methods and evaluation. Statistics in Medicine 2006; 25: 559–573.",
    ),
    Reference(
        "Obuchowski, 1997",
        "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997; 53: 567–578.",
    ),
    Reference(
        "Phipson and Smyth, 2010",
        "Phipson B, Smyth GK. Permutation p-values should never be zero: calculating exact p-values when permutations "
        "are randomly drawn. Statistical Applications in Genetics and Molecular Biology 2010; 9: 39.",
    ),
    Reference(
        "Welch, 1951",
        "Welch BL. On the comparison of several mean values: an alternative approach. Biometrika 1951; 38: 330–336.",
    ),
    Reference(
        "Wilson, 1927",
        "Wilson EB. Probable inference, the law of succession, and statistical inference. Journal of the American "
        "Statistical Association 1927; 22: 209–212.",
    ),
    Reference("Youden, 1950", "Youden WJ. Index for rating diagnostic tests. Cancer 1950; 3: 32–35."),
    Reference(
        "Zou and Donner, 2008",
        "Zou GY, Donner A. Construction of confidence limits about effect measures: a general approach. Statistics in Medicine "
        "2008; 27: 1693–1702.",
    ),
)


def cited_in(text: str) -> tuple[Reference, ...]:
    """Return the publications that a text cites, by name.

    Examples
    --------
    >>> [reference.cited for reference in cited_in("corrected (Holm, 1979)")]
    ['Holm, 1979']
    """
    return tuple(reference for reference in REFERENCES if reference.cited in text)
