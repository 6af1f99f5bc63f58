//go:build !linux && !darwin

package socket_test

var roles map[string]func()
