"""Makes an empty bucket: make_bucket.py ENDPOINT ACCESS_KEY SECRET_KEY BUCKET."""

import sys
import time

from pyarrow import fs

endpoint, access_key, secret_key, bucket = sys.argv[1:]
s3 = fs.S3FileSystem(
    access_key=access_key,
    secret_key=secret_key,
    endpoint_override=endpoint,
    region="us-east-1",
    allow_bucket_creation=True,
)
for attempt in range(60):
    try:
        s3.create_dir(bucket)
        break
    except OSError:
        # The server answers before all of its parts are up.
        if attempt == 59:
            raise
        time.sleep(0.5)
