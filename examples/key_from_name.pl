# key_from_name.pl NAME: print the key that sysv_ipc.key_from_name() returns.
#
# The low 31 bits of the name's 32-bit FNV-1a hash, or 1 if they are 0.
use strict;
use warnings;

sub key_from_name {
    my ($name) = @_;
    my $hash = 2166136261;
    for my $byte (unpack 'C*', $name) {
        $hash = (($hash ^ $byte) * 16777619) & 0xffffffff;
    }
    return ($hash & 0x7fffffff) || 1;
}

@ARGV == 1 or die "usage: key_from_name.pl NAME\n";
print key_from_name($ARGV[0]), "\n";
