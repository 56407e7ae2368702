import sm_tuning as smt

estimator = smt.XGBoostEstimator(version="1.7-1", instance_type="ml.m5.large",
                                 hyperparameters={"objective": "reg:squarederror", "num_round": 100})
tuning = smt.Tuning(estimator=estimator,
                    inputs={"train": "estimators/data/diabetes/train.csv",
                            "validation": "estimators/data/diabetes/validation.csv"},
                    objective_metric_name="validation:rmse", objective_type="Minimize",
                    hyperparameter_ranges={"eta": smt.ContinuousParameter(0.01, 0.5, scaling_type="Logarithmic"),
                                           "max_depth": smt.IntegerParameter(2, 10)},
                    max_jobs=8, max_parallel_jobs=2, random_seed=7)
with smt.local.connect():        # without this line, the same job runs on AWS
    job = smt.launch(tuning, wait=True)
    trials = job.trials().sort_values("FinalObjectiveValue")
print(trials[["max_depth", "eta", "FinalObjectiveValue", "TrainingJobStatus"]].head(3).to_string(index=False))
