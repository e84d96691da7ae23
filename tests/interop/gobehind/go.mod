module velocity.test/gobehind

go 1.26.0
