# A peer for semaphores: semaphore.pl KEY, then commands; see peer.h.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;

use IPC::Semaphore;
use IPC::SysV qw(IPC_CREAT IPC_EXCL IPC_NOWAIT SEM_UNDO);
use Peer;

my $key = shift;
my $set;

sub opened { answer($set ? $set->id : undef) }

commands(
    create => sub {
        $set = IPC::Semaphore->new($key, $_[0], IPC_CREAT | IPC_EXCL | oct $_[1]);
        opened();
    },
    open => sub { $set = IPC::Semaphore->new($key, 0, 0); opened() },
    set => sub { answer($set->setval(@_) ? 0 : undef) },
    operate => sub {
        my ($index, $delta, @flags) = @_;
        my $flags = flag('undo', SEM_UNDO, @flags) | flag('nowait', IPC_NOWAIT, @flags);
        answer($set->op($index, $delta, $flags) ? 0 : undef);
    },
    # Operations in one word: member,delta,flags,member,delta,flags ...
    together => sub { answer($set->op(split /,/, $_[0]) ? 0 : undef) },
    setall => sub { answer($set->setall(split /,/, $_[0]) ? 0 : undef) },
    values => sub { answer($set->getall) },
    waiting => sub { my $member = $_[0] // 0; answer($set->getncnt($member), $set->getzcnt($member)) },
    pid => sub { answer($set->getpid($_[0] // 0)) },
    stat => sub {
        my $stat = $set->stat or return answer(undef);
        answer(map { $stat->$_ } qw(mode uid gid cuid cgid nsems otime ctime));
    },
    mode => sub { answer($set->set(mode => oct $_[0]) ? 0 : undef) },
    remove => sub { answer($set->remove ? 0 : undef) },
);
