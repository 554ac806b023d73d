"""What watches over grading: guards on samples, canaries and monitors of rewards. Changes no reward."""
