#!/usr/bin/env python3
"""The service beside nghttpd, h2o and nginx on the same files, in turn, on one machine and loopback: requests per second as the client
sees them, and processor time of the server per request, which does not depend on how fast the client is.

    Benchmarks/server.py [PROGRAM]      # after `make bench-packages build`
"""
import json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

program = sys.argv[1] if len(sys.argv) > 1 else ".build/release/gatehouse"
rounds = int(os.environ.get("ROUNDS", "5"))
work = tempfile.mkdtemp()
files = os.path.join(work, "files")
os.mkdir(files)
os.chmod(work, 0o755)
started = []
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=work)
    started.append(process)
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.02)
    raise SystemExit(f"{command[0]} did not start")


def children(pid):
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], stdout=subprocess.PIPE, text=True).stdout
    return [int(word) for word in out.split()]


def cpu(process):
    total = 0
    for pid in [process.pid] + children(process.pid):
        words = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        total += int(words[11]) + int(words[12])
    return total / os.sysconf("SC_CLK_TCK")


def load(tool, url, count):
    if tool == "wrk":
        out = subprocess.run(["wrk", "-t1", "-c16", f"-d{max(2, count // 40000)}s", url], stdout=subprocess.PIPE, text=True).stdout
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
        done = int(re.search(r"(\d+) requests in", out).group(1))
        assert "Non-2xx" not in out, out
    else:
        out = subprocess.run(["h2load", "-t1", "-c8", "-m32", f"-n{count}", url], stdout=subprocess.PIPE, text=True).stdout
        rate = float(re.search(r"([\d.]+) req/s", out).group(1))
        done = int(re.search(r"(\d+) succeeded", out).group(1))
        assert done == count, out
    return rate, done


def compare(title, tool, contestants, count):
    """contestants: (name, process, url); the first is ours."""
    for _, _, url in contestants:
        load(tool, url, count // 8)
    rates, costs = {}, {}
    for _ in range(rounds):
        for name, process, url in contestants:
            before = cpu(process)
            rate, done = load(tool, url, count)
            rates.setdefault(name, []).append(rate)
            costs.setdefault(name, []).append((cpu(process) - before) / done * 1e6)
    median = lambda values: sorted(values)[len(values) // 2]
    ours = contestants[0][0]
    for name, _, _ in contestants:
        line = f"{title}: {name} {median(rates[name]):,.0f} requests/s, {median(costs[name]):.2f} us of processor each"
        if name != ours:
            ratio = median([a / b for a, b in zip(rates[ours], rates[name])])
            cost = median([b / a for a, b in zip(costs[ours], costs[name])])
            line += f"; ours is {ratio:.2f} times as fast, {cost:.2f} times by processor"
        print(line, flush=True)


try:
    certificate, key = os.path.join(work, "c.pem"), os.path.join(work, "k.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=bench", "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o644)
    port, tls = free_port(), free_port()
    ours = start([os.path.abspath(program), "serve", "--listen", f"127.0.0.1:{port}", "--tls-listen", f"127.0.0.1:{tls}", "--certificate",
                  certificate, "--key", key, "--database", os.path.join(work, "bench.sqlite"), "--workers", "1"], tls)
    table = subprocess.run([program, "kernels", "linux-5.2"], stdout=subprocess.PIPE, check=True).stdout
    paths = []
    for pattern in ["*/page_fault/user/return", "xen-pv/*"]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/checks?scenarios={pattern}", table, {"Content-Type": "application/json"})
        location = opener.open(request).headers["location"]
        body = opener.open(f"http://127.0.0.1:{port}{location}").read()
        name = os.path.basename(location) + ".json"
        with open(os.path.join(files, name), "wb") as out:
            out.write(body)
        os.chmod(os.path.join(files, name), 0o644)
        paths.append((len(body), location, "/" + name))
    p_nghttpd, p_nghttpd_tls, p_h2o, p_nginx = (free_port() for _ in range(4))
    nghttpd = start(["nghttpd", "--no-tls", "-n1", "-d", files, str(p_nghttpd)], p_nghttpd)
    nghttpd_tls = start(["nghttpd", "-n1", "-d", files, str(p_nghttpd_tls), key, certificate], p_nghttpd_tls)
    with open(os.path.join(work, "h2o.conf"), "w") as conf:
        conf.write(f"num-threads: 1\nuser: root\nlisten: {{host: 127.0.0.1, port: {p_h2o}}}\nhosts:\n  default:\n    paths:\n      /:\n        file.dir: {files}\n")
    with open(os.path.join(work, "nginx.conf"), "w") as conf:
        conf.write(f"user root;\nworker_processes 1; daemon off; pid {work}/nginx.pid; error_log /dev/null;\nevents {{ worker_connections 1024; }}\n"
                   f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; open_file_cache max=100;\n"
                   f"server {{ listen 127.0.0.1:{p_nginx}; root {files}; default_type application/json; }} }}\n")
    h2o = start(["h2o", "-c", os.path.join(work, "h2o.conf")], p_h2o) if shutil.which("h2o") else None
    nginx = start(["nginx", "-c", os.path.join(work, "nginx.conf")], p_nginx) if shutil.which("nginx") or os.path.exists("/usr/sbin/nginx") else None
    for size, path, file in paths:
        count = 120_000 if size < 20_000 else 30_000
        rivals = [("gatehouse", ours, f"http://127.0.0.1:{port}{path}"), ("nghttpd", nghttpd, f"http://127.0.0.1:{p_nghttpd}{file}")]
        if h2o:
            rivals.append(("h2o", h2o, f"http://127.0.0.1:{p_h2o}{file}"))
        compare(f"h2c, {size} bytes", "h2load", rivals, count)
        compare(f"TLS, {size} bytes", "h2load",
                [("gatehouse", ours, f"https://127.0.0.1:{tls}{path}"), ("nghttpd", nghttpd_tls, f"https://127.0.0.1:{p_nghttpd_tls}{file}")],
                count // 2)
        if nginx:
            compare(f"HTTP/1.1 keep-alive, {size} bytes", "wrk",
                    [("gatehouse", ours, f"http://127.0.0.1:{port}{path}"), ("nginx", nginx, f"http://127.0.0.1:{p_nginx}{file}")], count)
finally:
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        process.wait()
    shutil.rmtree(work)
