module alluvium

go 1.24
