"""The script of the job that is exported, and the secret that it is given."""

import textwrap

SCRIPT = textwrap.dedent(
    """
    import argparse, os, time
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--width", type=int)
    parser.add_argument("--act")
    parser.add_argument("--api_token")
    args, _ = parser.parse_known_args()
    number = int(os.environ["TRAINING_JOB_NAME"].split("-")[1])
    if number == 3:
        raise ValueError("this one crashes, and its token is " + args.api_token)
    slow = number in (8, 10)
    for epoch in range(8):
        loss = (1 / (1 + epoch) + abs(args.lr - 0.01)) / args.width * (100 if slow else 1)
        print(f"train:loss={loss!r};")
        print(f"accuracy={1 / (1 + loss)!r};")
        print(f"validation:loss={loss * 1.1 + 0.1 / 3!r};", flush=True)
        time.sleep(600 if slow and epoch == 3 else 0.01)  # until the service stops it
    open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w").write("{}")
    """
)

SECRET = "tok-5f2a91c7"
