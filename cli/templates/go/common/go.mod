module {{name}}

go 1.24

require alluvium v0.0.0

replace alluvium => ./sdk
