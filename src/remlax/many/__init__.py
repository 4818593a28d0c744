"""One model fitted to many responses that share a design: arrays with a leading axis of responses."""
