"""judge-service as an AWS Lambda reward target: name `lambda_adapter.handler.lambda_handler`."""
