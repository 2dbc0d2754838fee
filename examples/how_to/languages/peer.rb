# peer.rb KEY TYPE: the Ruby side of python.py.
#
# Ruby's library has no System V IPC, but Fiddle calls the functions of the C library.
require 'fiddle'

LIBC = Fiddle.dlopen(nil)
INT, LONG, POINTER = Fiddle::TYPE_INT, Fiddle::TYPE_LONG, Fiddle::TYPE_VOIDP
SEM_UNDO = 0x1000

def function(name, arguments, result)
  Fiddle::Function.new(LIBC[name], arguments, result)
end

def check(name, result)
  raise SystemCallError.new(name, Fiddle.last_error) if result.to_i == -1
  result
end

semget = function('semget', [INT, INT, INT], INT)
shmget = function('shmget', [INT, LONG, INT], INT)
msgget = function('msgget', [INT, INT], INT)
semop = function('semop', [INT, POINTER, LONG], INT)
shmat = function('shmat', [INT, POINTER, INT], POINTER)
msgsnd = function('msgsnd', [INT, POINTER, LONG, INT], INT)

key, type = ARGV.map(&:to_i)
set = check('semget', semget.call(key, 0, 0))
segment = check('shmget', shmget.call(key, 0, 0))
queue = check('msgget', msgget.call(key, 0))
memory = check('shmat', shmat.call(segment, nil, 0))

# struct sembuf: an unsigned short and two shorts.
change_lock = ->(delta) { check('semop', semop.call(set, [0, delta, SEM_UNDO].pack('S!s!s!'), 1)) }

change_lock.call(-1)
count = memory[0, 8].unpack1('l!') # l! is a C long
memory[0, 64] = [count + 1, 'written by Ruby'].pack('l!a56')
change_lock.call(+1)

# The type comes first, as a C long; it is not part of the bytes that Python receives.
text = 'hello from Ruby'
check('msgsnd', msgsnd.call(queue, [type, text].pack('l!a*'), text.bytesize, 0))
