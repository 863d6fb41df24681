# A machine beside this one. It knows names such as `p80-x-loopback.rebinding.test`: when one is asked for the first time it
# means this machine, which then listens at that port, and ever after it means what it should not.
import ctypes, signal, socket, struct, threading
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
OWN = '10.99.0.2'
LATER = {'loopback': '127.0.0.1', 'own': '10.99.0.1', 'metadata': '169.254.169.254', 'six': '::1', 'fine': OWN}
asked, listening = {}, set()

def serve(server):
    while True:
        client, _ = server.accept()
        with client: client.sendall(b'open')

def meaning(name, kind):
    port, unique, later = name.split('.')[0].split('-')
    if port not in listening:
        listening.add(port)
        threading.Thread(target=serve, args=[socket.create_server((OWN, int(port[1:])))], daemon=True).start()
    asked[name] = asked.get(name, 0) + (kind == 1)
    address = OWN if asked[name] < 2 else LATER[later]
    family, own_kind = (socket.AF_INET6, 28) if ':' in address else (socket.AF_INET, 1)
    return [socket.inet_pton(family, address)] if kind == own_kind else []

def answer(question):
    name, at = [], 12
    while question[at]:
        name.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind = struct.unpack_from('>H', question, at + 1)[0]
    found = meaning('.'.join(name).lower(), kind)
    head = question[:2] + struct.pack('>HHHHH', 0x8580, 1, len(found), 0, 0) + question[12:at + 5]
    return head + b''.join(struct.pack('>HHHIH', 0xc00c, kind, 1, 0, len(one)) + one for one in found)

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind((OWN, 53))
print('ready', flush=True)
while True:
    question, who = names.recvfrom(512)
    try: names.sendto(answer(question), who)
    except (ValueError, KeyError, IndexError): pass
