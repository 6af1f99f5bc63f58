package watch

import "syscall"

func (s *Stamp) ofSystem(sys any) {
	if stat, ok := sys.(*syscall.Stat_t); ok {
		s.Changed, s.Inode, s.Device = stat.Ctim.Nano(), stat.Ino, uint64(stat.Dev)
	}
}
