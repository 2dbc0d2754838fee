# A peer for queues: message_queue.pl KEY, then commands; see peer.h.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use IPC::Msg;
use IPC::SysV qw(IPC_CREAT IPC_EXCL IPC_NOWAIT);
use Peer;

my $key = shift;
my $queue;

sub opened { answer($queue ? $queue->id : undef) }

commands(
    create => sub { $queue = IPC::Msg->new($key, IPC_CREAT | IPC_EXCL | oct $_[0]); opened() },
    open => sub { $queue = IPC::Msg->new($key, 0); opened() },
    send => sub {
        my ($type, $digits, @flags) = @_;
        answer($queue->snd($type, bytes($digits), flag('nowait', IPC_NOWAIT, @flags)) ? 0 : undef);
    },
    receive => sub {
        my ($size, $wanted, @flags) = @_;
        my $bytes = '';
        my $type = $queue->rcv($bytes, $size, $wanted, flag('nowait', IPC_NOWAIT, @flags));
        answer($type ? ($type, digits($bytes)) : undef);
    },
    stat => sub {
        my $stat = $queue->stat or return answer(undef);
        answer(
            map { $stat->$_ }
                qw(mode uid gid cuid cgid qnum qbytes lspid lrpid stime rtime ctime)
        );
    },
    mode => sub { answer($queue->set(mode => oct $_[0], qbytes => $_[1]) ? 0 : undef) },
    remove => sub { answer($queue->remove ? 0 : undef) },
);
