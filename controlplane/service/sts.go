package service

import (
	"context"

	stsv1 "github.com/posternhq/postern/proto/postern/sts/v1"
)

type stsServer struct {
	stsv1.UnimplementedSTSServer
}

// NewSTS returns the STS service: who the caller is, which the request alone says.
func NewSTS(Config) stsv1.STSServer { return &stsServer{} }

func (*stsServer) GetCallerIdentity(ctx context.Context, _ *stsv1.GetCallerIdentityRequest) (*stsv1.GetCallerIdentityResponse, error) {
	c := caller(ctx)
	return &stsv1.GetCallerIdentityResponse{
		Account: new(c.Account), Arn: new(c.ARN), UserId: new(c.UserID),
	}, nil
}
