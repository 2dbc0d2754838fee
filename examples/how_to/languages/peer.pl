# peer.pl KEY TYPE: the Perl side of python.py.
use strict;
use warnings;
use IPC::SysV qw(SEM_UNDO);

my ($key, $type) = map { int } @ARGV;
my $set     = semget($key, 0, 0);
my $segment = shmget($key, 0, 0);
my $queue   = msgget($key, 0);
die "cannot open the objects: $!" unless defined $set && defined $segment && defined $queue;

# struct sembuf: an unsigned short and two shorts.
sub change_lock { semop($set, pack('S! s! s!', 0, $_[0], SEM_UNDO)) or die "semop: $!" }

change_lock(-1);
shmread($segment, my $record, 0, 64) or die "shmread: $!";
my ($count) = unpack('l! a56', $record);                        # l! is a C long
shmwrite($segment, pack('l! a56', $count + 1, 'written by Perl'), 0, 64) or die "shmwrite: $!";
change_lock(+1);

# The type comes first, as a C long; it is not part of the bytes that Python receives.
msgsnd($queue, pack('l! a*', $type, 'hello from Perl'), 0) or die "msgsnd: $!";
