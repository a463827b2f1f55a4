// Package bench measures the kernels: tables of products and element-wise loops on the layers of real networks, on every
// path of this machine, beside the machine's own peaks and beside OpenBLAS (make bench). There is nothing but tests in it.
package bench
