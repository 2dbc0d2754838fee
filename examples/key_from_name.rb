# key_from_name.rb NAME: print the key that sysv_ipc.key_from_name() returns.
#
# The low 31 bits of the name's 32-bit FNV-1a hash, or 1 if they are 0.

def key_from_name(name)
  hash = name.bytes.reduce(2166136261) { |h, byte| ((h ^ byte) * 16777619) & 0xffffffff }
  key = hash & 0x7fffffff
  key.zero? ? 1 : key
end

abort "usage: key_from_name.rb NAME" unless ARGV.size == 1
puts key_from_name(ARGV[0])
