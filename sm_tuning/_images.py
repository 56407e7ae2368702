"""The training images of AWS's built-in algorithms [Developer Guide, sagemaker-algo-docker-registry-paths]."""

from __future__ import annotations

#: ECR repositories of the built-in XGBoost, in its newer and its older image.
XGBOOST_REPOSITORIES = frozenset({"sagemaker-xgboost", "xgboost"})

#: ECR repositories of all built-in algorithms.
BUILTIN_REPOSITORIES = XGBOOST_REPOSITORIES | {
    "blazingtext",
    "factorization-machines",
    "forecasting-deepar",
    "image-classification",
    "ipinsights",
    "kmeans",
    "knn",
    "lda",
    "linear-learner",
    "ntm",
    "object-detection",
    "object2vec",
    "pca",
    "randomcutforest",
    "semantic-segmentation",
    "seq2seq",
}
