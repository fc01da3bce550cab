// tscontrol stands in for what tailscale needs around it: its in-memory test control server, a DERP
// relay and STUN, all on one address, without a single packet to the internet.
//
//	tscontrol -addr 10.100.9.2
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"

	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
)

func main() {
	addr := flag.String("addr", "127.0.0.1", "address to listen on")
	port := flag.Int("port", 8080, "TCP port of the control server, plain HTTP")
	derpPort := flag.Int("derp-port", 8081, "TCP port of DERP, TLS")
	stunPort := flag.Int("stun-port", 3478, "UDP port of STUN")
	flag.Parse()

	go serveSTUN(join(*addr, *stunPort))
	go serveDERP(join(*addr, *derpPort))

	region := &tailcfg.DERPRegion{RegionID: 1, RegionCode: "lab", Nodes: []*tailcfg.DERPNode{{
		Name: "1a", RegionID: 1, HostName: *addr, IPv4: *addr, IPv6: "none",
		STUNPort: *stunPort, DERPPort: *derpPort, InsecureForTests: true, STUNTestIP: *addr,
	}}}
	control := &testcontrol.Server{
		Logf:             func(string, ...any) {},
		DERPMap:          &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{1: region}},
		AllNodesSameUser: true,
		AllOnline:        true,
		ExplicitBaseURL:  "http://" + join(*addr, *port),
	}
	log.Printf("control on %s", control.ExplicitBaseURL)
	log.Fatal(http.ListenAndServe(join(*addr, *port), control))
}

func serveSTUN(addr string) {
	conn, err := net.ListenPacket("udp4", addr)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		tx, err := stun.ParseBindingRequest(buffer[:n])
		if err != nil {
			continue
		}
		conn.WriteTo(stun.Response(tx, from.(*net.UDPAddr).AddrPort()), from)
	}
}

// serveDERP speaks TLS, which the client insists on; httptest gives a throw-away certificate.
func serveDERP(addr string) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/derp", derpserver.Handler(derpserver.New(key.NewNode(), log.Printf)))
	mux.HandleFunc("/derp/probe", derpserver.ProbeHandler)
	mux.HandleFunc("/derp/latency-check", derpserver.ProbeHandler)
	mux.HandleFunc("/generate_204", derpserver.ServeNoContent)
	server := httptest.NewUnstartedServer(mux)
	server.Listener.Close()
	server.Listener = listener
	// DERP takes the connection over, which HTTP/2 does not let it do.
	server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	server.StartTLS()
}

func join(addr string, port int) string {
	return net.JoinHostPort(addr, strconv.Itoa(port))
}
