"""Amazon Bedrock as the judge (Converse)."""
