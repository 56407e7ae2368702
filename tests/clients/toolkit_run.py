"""Run a script as sagemaker-training does inside a framework image; for the Python of an environment that has it.

python toolkit_run.py FOLDER     FOLDER stands for /opt/ml, with its config, data and code
"""

import os
import sys

os.environ["SAGEMAKER_BASE_DIR"] = sys.argv[1]
os.environ["SM_STUDIO_LOCAL_MODE"] = "true"  # the host names of a cluster do not resolve here

from sagemaker_training import entry_point, environment

env = environment.Environment()
# The PyTorch images capture the errors of the script.
entry_point.run(env.module_dir, env.user_entry_point, env.to_cmd_args(), env.to_env_vars(), capture_error=True)
