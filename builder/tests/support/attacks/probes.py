# What the attacks are made of. The table's expressions are evaluated one by one, each in a process of its own.
import array, ctypes, errno, fcntl, mmap, os, resource, shutil, signal, socket, struct, subprocess, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    whole = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(NR[name]), *whole)
    if result == -1:
        raise OSError(ctypes.get_errno(), '')
    return result

# Files. What would be written is only opened, so that no hole in the wall does harm.
def read(path):
    with open(path, 'rb') as file: return file.read(64)
def reads(path):
    # How much there is, not what: that is nobody's business.
    length = len(read(path))
    return f'{length} bytes' if length else 'empty'
def opens(path):
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    return 'opened'
def creates(folder):
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    return 'created'
def fresh():
    return tempfile.mkdtemp(dir=HERE).encode()
def below(top, follows=lambda path: True):
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if follows(os.path.join(folder, name))]
        yield from (os.path.join(folder, name) for name in files)
def writable_settings(top):
    return [path for path in below(top) if succeeds(lambda: opens(path))]
def writable_places():
    # The topmost folders in which files can be made.
    found, skipped = [], ('/proc', '/sys')
    for folder, folders, _ in os.walk('/'):
        if folder in skipped or succeeds(lambda: creates(folder)):
            folders[:] = []
            if folder not in skipped: found.append(folder)
    return ' '.join(sorted(found))
def device(kind, major, minor):
    path = os.path.join(fresh(), b'device')
    os.mknod(path, kind | 0o666, os.makedev(major, minor))
    return 'made'
def mine():
    path = os.path.join(fresh(), b'mine')
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))
    return path
def linked(target):
    os.link(target, os.path.join(HERE, f'link-{os.getpid()}'))
    return 'linked'

# Processes
def succeeds(attempt):
    try: attempt()
    except OSError: return False
    return True
def pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]
def status(*names):
    lines = dict(line.split(':', 1) for line in open('/proc/self/status'))
    return ' '.join(lines[name].strip() for name in names)
def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, restore_signals=True).stdout.strip()
def environments_with(text):
    found = 0
    for pid in pids():
        try: found += text.encode() in open(f'/proc/{pid}/environ', 'rb').read()
        except OSError: pass
    return found
def peek(pid):
    own, there = ctypes.create_string_buffer(8), ctypes.create_string_buffer(b'canary')
    local = struct.pack('QQ', ctypes.addressof(own), 0)
    remote = struct.pack('QQ', ctypes.addressof(there), 0)
    return call('process_vm_readv', pid, local, 1, remote, 1, 0)
def attach(pid):
    call('ptrace', 16, pid, 0, 0)
    os.waitpid(pid, 0)
    call('ptrace', 17, pid, 0, 0)
    return 'attached'
def descriptor_of(pid):
    return call('pidfd_getfd', os.pidfd_open(pid), 0, 0)
def process_1():
    # In a sandbox; outside the canary stands for it.
    return CANARY_PID if OUTSIDE else 1

# Namespaces and mounts
def mounts(kind, options=None, flags=0, source=b'none'):
    call('mount', source, fresh(), kind, flags, options if options else 0)
    return 'mounted'
def remounts(path, flags):
    call('mount', 0, path, 0, 32 | flags, 0)
    return 'remounted'
def cloned(flags):
    child = call('clone', flags | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
    return 'cloned'
def cloned3(flags):
    arguments = struct.pack('11Q', flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    child = call('clone3', arguments, len(arguments))
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
    return 'cloned'
def joins(path):
    return call('setns', os.open(path, os.O_RDONLY), 0)
def breaks_out():
    outside = os.open('/', os.O_RDONLY)
    os.chroot(fresh())
    os.fchdir(outside)
    os.chroot('.')
    return 'out'
def maps_users():
    # By a program that may do more than its caller.
    return subprocess.run(['newuidmap', str(os.getpid()), '0', '0', '1'], capture_output=True).returncode == 0
def nested_tables():
    call('unshare', 0x10000000 | 0x40000000)
    return socket.socket(16, 3, 12).family
def raced():
    # A starter that looks whether a folder is one before it writes there, and somebody who exchanges it for a link.
    top, outside = fresh(), fresh()
    folder, link = os.path.join(top, b'tmp'), os.path.join(top, b'tmp.other')
    os.mkdir(folder)
    os.symlink(outside, link)
    child = os.fork()
    if child == 0:
        while True: libc.renameat2(-100, folder, -100, link, 2)
    try:
        for _ in range(1_000_000):
            if os.path.islink(folder): continue
            open(os.path.join(folder, b'x'), 'w').close()
            if os.listdir(outside): return 'written to'
        return 'nothing outside was touched'
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

# Sockets
def knock(address):
    with socket.socket(socket.AF_UNIX) as knocking: knocking.connect(address)
    return 'connected'
def connect(host, port):
    with socket.create_connection((host, port), 5): return 'connected'
def datagram(host, port):
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect((host, port))
        sending.send(b'canary')
        sending.settimeout(0.2)
        try: sending.recv(1)
        except TimeoutError: pass
    return 'sent'
def proxied(address):
    with socket.create_connection(('127.0.0.1', 3128), 20) as asking:
        asking.sendall(f'CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n'.encode())
        answer = asking.recv(100).decode()
    return answer.split(' ')[1] if answer.startswith('HTTP/') else answer
def answered_otherwise(addresses, expected):
    found = {address: proxied(address) for address in addresses}
    return {address: answer for address, answer in found.items() if answer not in expected}
def families():
    # Numbers of the families and kinds that a program may make sockets of.
    allowed = set()
    for family in range(64):
        for kind in (1, 2, 3, 5):
            try: socket.socket(family, kind | socket.SOCK_CLOEXEC).close()
            except OSError as error:
                if error.errno in (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPROTONOSUPPORT): continue
            allowed.add(family)
    return sorted(allowed)
def netlinks():
    return [protocol for protocol in range(32) if succeeds(lambda: socket.socket(16, 3, protocol).close())]
def interface(flags):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, 0x8914, struct.pack('16sH22x', b'lo', flags))
    return 'changed'
def rebound():
    # What a name means when it is looked at, and where a program gets to that looks it up again.
    name = f'p{PORT}-outside{os.getpid()}-loopback.rebinding.test'
    met = []
    for _ in range(2):
        with socket.create_connection((name, int(PORT)), 5) as connection: met.append(connection.getpeername()[0])
    return ', then '.join(met)

# Terminals
def terminal(request):
    # A controlling terminal of one's own, which only a session of one's own can have.
    if os.fork():
        status = os.wait()[1]
        if os.WEXITSTATUS(status): raise OSError(os.WEXITSTATUS(status), '')
        return 'done'
    try:
        os.setsid()
        master, slave = os.openpty()
        fcntl.ioctl(slave, 0x540e, 0)
        fcntl.ioctl(slave, request, b'x')
        os._exit(0)
    except OSError as error:
        os._exit(error.errno)

# Filters of system calls
def machine_code(code):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
def filtered(action, flags=0):
    # One instruction: this answer to every call.
    program = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, action))
    whole = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(program)))
    libc.prctl(38, 1, 0, 0, 0)
    return call('seccomp', 1, flags, whole), program, whole
def loosened():
    filtered(0x7fff0000)
    return call('unshare', 0x10000000)
def answered_by_a_friend():
    # A filter that asks its listener about every call, and a listener that lets unshare happen. Only the strictest answer
    # of all filters counts; where there is no other, the call waits for the listener.
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        program = struct.pack('HBBI', 0x20, 0, 0, 0) + struct.pack('HBBI', 0x15, 0, 1, NR['unshare'])
        program += struct.pack('HBBI', 6, 0, 0, 0x7fc00000) + struct.pack('HBBI', 6, 0, 0, 0x7fff0000)
        program = ctypes.create_string_buffer(program)
        whole = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 4, ctypes.addressof(program)))
        libc.prctl(38, 1, 0, 0, 0)
        try:
            listener = call('seccomp', 1, 8, whole)
            socket.send_fds(theirs, [b'x'], [listener])
            call('unshare', 0x10000000)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    theirs.close()
    message, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if os.fork() == 0:
        try: let_it_happen(descriptors[0])
        finally: os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code: raise OSError(code, '')
    return 'unshared'
def let_it_happen(listener):
    asked = ctypes.create_string_buffer(80)
    fcntl.ioctl(listener, 0xc0502100, asked)
    answer = struct.pack('QqiI', struct.unpack_from('Q', asked.raw)[0], 0, 0, 1)
    fcntl.ioctl(listener, 0xc0182101, answer)
def changed_by_a_tracer():
    # A child that asks for its id, and a tracer that makes it a call to unshare at the last moment (x86-64).
    child = os.fork()
    if child == 0:
        call('ptrace', 0, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        result = libc.syscall(NR['getppid'])
        os._exit(ctypes.get_errno() if result == -1 else 200 if result == 0 else 201)
    os.waitpid(child, 0)
    call('ptrace', 0x4200, child, 0, 1)
    while True:
        call('ptrace', 24, child, 0, 0)
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status): break
        registers = ctypes.create_string_buffer(27 * 8)
        call('ptrace', 12, child, 0, registers)
        values = array.array('Q', registers.raw)
        if values[15] == NR['getppid']:
            values[15], values[14] = NR['unshare'], 0x10000000
            call('ptrace', 13, child, 0, values.tobytes())
    code = os.WEXITSTATUS(status)
    if code == 200: return 'unshared'
    raise OSError(code, '')

def probe(number, attempt):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            result = str(attempt())
        except OSError as error:
            result = errno.errorcode.get(error.errno, str(error))
        except BaseException as error:
            result = repr(error)
        os.write(1, f'{number}\t{result}\n'.encode())
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(ended):
        os.write(1, f'{number}\tsignal {os.WTERMSIG(ended)}\n'.encode())
