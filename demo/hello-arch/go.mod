module hello-arch

go 1.19
