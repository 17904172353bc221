"""Amazon Bedrock: jobs over objects in S3."""
