package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	ec2v1 "github.com/posternhq/postern/proto/postern/ec2/v1"
)

// zone is an availability zone: its name in the account, and the id that it
// has in all accounts.
type zone struct{ name, id string }

// Zone letters and zone numbers differ where AWS was seen to shuffle them.
var zoneNumbers = map[string][3]int{
	"us-east-1": {6, 1, 2},
	"us-west-1": {3, 1, 2},
}

// Zones in which the execute-api service has no interfaces. us-west-1 has two
// zones for its customers; Postern gives every region three, and this is the one
// that makes "not all zones may be supported" true somewhere.
var zonesWithoutService = []string{"usw1-az2"}

// zonesOf returns the three zones of a region. Any region of AWS's form has them.
func zonesOf(region string) []zone {
	numbers, ok := zoneNumbers[region]
	if !ok {
		numbers = [3]int{1, 2, 3}
	}
	zones := make([]zone, len(numbers))
	for i, n := range numbers {
		zones[i] = zone{region + string(rune('a'+i)), fmt.Sprintf("%s-az%d", regionCode(region), n)}
	}
	return zones
}

// regionCode abbreviates a region as zone ids do: us-west-2 is usw2,
// ap-southeast-1 is apse1, us-gov-east-1 is usge1.
func regionCode(region string) string {
	directions := strings.NewReplacer(
		"northeast", "ne", "northwest", "nw", "southeast", "se", "southwest", "sw",
		"north", "n", "south", "s", "east", "e", "west", "w", "central", "c", "gov", "g", "iso", "i")
	return strings.ReplaceAll(directions.Replace(region), "-", "")
}

func zoneNamed(region, name string) (zone, bool) {
	zones := zonesOf(region)
	i := slices.IndexFunc(zones, func(z zone) bool { return z.name == name })
	if i < 0 {
		return zone{}, false
	}
	return zones[i], true
}

func zoneWithID(region, id string) (zone, bool) {
	zones := zonesOf(region)
	i := slices.IndexFunc(zones, func(z zone) bool { return z.id == id })
	if i < 0 {
		return zone{}, false
	}
	return zones[i], true
}

// servedZones are the zones in which an execute-api endpoint may have interfaces.
func servedZones(region string) []string {
	var names []string
	for _, z := range zonesOf(region) {
		if !slices.Contains(zonesWithoutService, z.id) {
			names = append(names, z.name)
		}
	}
	return names
}

var regionNames = map[string]string{
	"af-south-1":     "Africa (Cape Town)",
	"ap-east-1":      "Asia Pacific (Hong Kong)",
	"ap-northeast-1": "Asia Pacific (Tokyo)",
	"ap-northeast-2": "Asia Pacific (Seoul)",
	"ap-northeast-3": "Asia Pacific (Osaka)",
	"ap-south-1":     "Asia Pacific (Mumbai)",
	"ap-southeast-1": "Asia Pacific (Singapore)",
	"ap-southeast-2": "Asia Pacific (Sydney)",
	"ca-central-1":   "Canada (Central)",
	"eu-central-1":   "Europe (Frankfurt)",
	"eu-north-1":     "Europe (Stockholm)",
	"eu-south-1":     "Europe (Milan)",
	"eu-west-1":      "Europe (Ireland)",
	"eu-west-2":      "Europe (London)",
	"eu-west-3":      "Europe (Paris)",
	"me-south-1":     "Middle East (Bahrain)",
	"sa-east-1":      "South America (Sao Paulo)",
	"us-east-1":      "US East (N. Virginia)",
	"us-east-2":      "US East (Ohio)",
	"us-west-1":      "US West (N. California)",
	"us-west-2":      "US West (Oregon)",
}

var optInRegions = []string{"af-south-1", "ap-east-1", "eu-south-1", "me-south-1"}

func optInStatus(region string) string {
	if slices.Contains(optInRegions, region) {
		return "opted-in"
	}
	return "opt-in-not-required"
}

var zoneFilters = filters[*ec2v1.AvailabilityZone]{
	"zone-name":      func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetZoneName()} },
	"zone-id":        func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetZoneId()} },
	"region-name":    func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetRegionName()} },
	"state":          func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetZoneState()} },
	"zone-type":      func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetZoneType()} },
	"opt-in-status":  func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetOptInStatus()} },
	"group-name":     func(z *ec2v1.AvailabilityZone) []string { return []string{z.GetGroupName()} },
	"message":        func(*ec2v1.AvailabilityZone) []string { return nil },
	"parent-zone-id": func(*ec2v1.AvailabilityZone) []string { return nil },
}

func (s *ec2Server) DescribeAvailabilityZones(ctx context.Context, req *ec2v1.DescribeAvailabilityZonesRequest) (*ec2v1.DescribeAvailabilityZonesResponse, error) {
	_, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	for _, name := range req.GetZoneNames() {
		if _, ok := zoneNamed(c.Region, name); !ok {
			return nil, invalidValue("Invalid availability zone: [%s]", name)
		}
	}
	for _, id := range req.GetZoneIds() {
		if _, ok := zoneWithID(c.Region, id); !ok {
			return nil, invalidValue("Invalid availability zone-id: [%s]", id)
		}
	}
	match, err := zoneFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	longName := regionNames[c.Region]
	if longName == "" {
		longName = c.Region
	}
	answer := &ec2v1.DescribeAvailabilityZonesResponse{}
	for _, z := range zonesOf(c.Region) {
		if len(req.GetZoneNames()) > 0 && !slices.Contains(req.GetZoneNames(), z.name) ||
			len(req.GetZoneIds()) > 0 && !slices.Contains(req.GetZoneIds(), z.id) {
			continue
		}
		shown := &ec2v1.AvailabilityZone{
			ZoneState:          new("available"),
			OptInStatus:        new(optInStatus(c.Region)),
			RegionName:         new(c.Region),
			ZoneName:           new(z.name),
			ZoneId:             new(z.id),
			GroupName:          new(c.Region + "-zg-1"),
			GroupLongName:      new(longName + " 1"),
			NetworkBorderGroup: new(c.Region),
			ZoneType:           new("availability-zone"),
		}
		if match(shown) {
			answer.AvailabilityZones = append(answer.AvailabilityZones, shown)
		}
	}
	return answer, nil
}

var regionFilters = filters[*ec2v1.Region]{
	"region-name":   func(r *ec2v1.Region) []string { return []string{r.GetRegionName()} },
	"endpoint":      func(r *ec2v1.Region) []string { return []string{r.GetRegionEndpoint()} },
	"opt-in-status": func(r *ec2v1.Region) []string { return []string{r.GetOptInStatus()} },
}

// DescribeRegions lists the regions that have a name of their own, and the
// caller's, for any other region of AWS's form works just as well.
func (s *ec2Server) DescribeRegions(ctx context.Context, req *ec2v1.DescribeRegionsRequest) (*ec2v1.DescribeRegionsResponse, error) {
	_, c, err := s.read(ctx, req.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := regionFilters.compile(req.GetFilters())
	if err != nil {
		return nil, err
	}
	names := []string{c.Region}
	for name := range regionNames {
		if name != c.Region {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range req.GetRegionNames() {
		if !slices.Contains(names, name) {
			return nil, invalidValue("Invalid region name: [%s]", name)
		}
	}
	answer := &ec2v1.DescribeRegionsResponse{}
	for _, name := range names {
		if len(req.GetRegionNames()) > 0 && !slices.Contains(req.GetRegionNames(), name) {
			continue
		}
		shown := &ec2v1.Region{
			RegionName:     new(name),
			RegionEndpoint: new("ec2." + name + ".amazonaws.com"),
			OptInStatus:    new(optInStatus(name)),
		}
		if match(shown) {
			answer.Regions = append(answer.Regions, shown)
		}
	}
	return answer, nil
}
