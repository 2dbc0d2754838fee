# A peer for segments: shared_memory.pl KEY, then commands; see peer.h.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use IPC::SharedMem;
use IPC::SysV qw(IPC_CREAT IPC_EXCL SHM_RDONLY);
use Peer;

my $key = shift;
my $memory;

sub opened { answer($memory ? $memory->id : undef) }

commands(
    create => sub {
        $memory = IPC::SharedMem->new($key, $_[0], IPC_CREAT | IPC_EXCL | oct $_[1]);
        opened();
    },
    open => sub { $memory = IPC::SharedMem->new($key, 0, 0); opened() },
    attach => sub { answer($memory->attach(flag('readonly', SHM_RDONLY, @_)) ? 0 : undef) },
    detach => sub { answer($memory->detach ? 0 : undef) },
    write => sub {
        my ($offset, $bytes) = ($_[0], bytes($_[1]));
        my $size = length $bytes;
        answer($memory->write($bytes, $offset, $size) ? $size : undef);
    },
    read => sub { answer(digits($memory->read(@_))) },
    stat => sub {
        my $stat = $memory->stat or return answer(undef);
        answer(
            map { $stat->$_ }
                qw(mode uid gid cuid cgid segsz cpid lpid nattch atime dtime ctime)
        );
    },
    remove => sub { answer($memory->remove ? 0 : undef) },
);
